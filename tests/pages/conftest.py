from running import app, patience, start

__all__ = ["app", "patience", "start"]
