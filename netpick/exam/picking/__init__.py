"""Pick a network: constraints, objectives, the Pareto front, a suggestion with its reasons."""
