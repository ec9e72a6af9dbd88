//! The whole command: from an image's name to a verdict, with a real rebuild.
