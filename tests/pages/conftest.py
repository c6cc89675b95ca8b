from running import app, patience, registered, start

__all__ = ["app", "patience", "registered", "start"]
