from tests.api.conftest import client, folders, large_preview, painter, server, services

__all__ = ["client", "folders", "large_preview", "painter", "server", "services"]
