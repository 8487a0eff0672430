"""The bundled systems: one module each, registered through the same entry points as anybody's."""
