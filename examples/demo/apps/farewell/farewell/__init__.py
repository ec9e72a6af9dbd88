"""An app for Carafe's demo: it stands on greetings."""

__version__ = "1.0.0"
