"""An app for Carafe's demo: it requires greetings."""

__version__ = "1.0.0"
