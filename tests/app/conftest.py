from tests.api.conftest import client, folders, painter, services

__all__ = ["client", "folders", "painter", "services"]
