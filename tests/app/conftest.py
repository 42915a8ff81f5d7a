from tests.api.conftest import client, folders, large_preview, painter, port, server, services

__all__ = ["client", "folders", "large_preview", "painter", "port", "server", "services"]
