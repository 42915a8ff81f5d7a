from tests.api.conftest import client, folders, large_preview, painter, services

__all__ = ["client", "folders", "large_preview", "painter", "services"]
