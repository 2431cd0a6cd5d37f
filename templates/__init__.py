"""What to build: one TOML file a template, and the Jinja template of exported source code."""
