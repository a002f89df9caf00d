"""Measurements. Each prints its figures with the machine and keeps them as JSON in bench/results/."""
