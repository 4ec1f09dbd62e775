"""Records as one HTML page that opens offline: tables, and plots as SVG inside it."""
