"""What trainings will take: a model of the costs, its calibration on this machine, the estimate."""
