"""An app for Carafe's demo: it greets."""

__version__ = "1.0.0"
