"""Where a row goes next."""
