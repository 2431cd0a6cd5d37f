"""Where trainings run: processes of this machine, and those of its cards."""
