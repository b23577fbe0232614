"""Training runs beside certified curves: datasets, losses with gradients in floats, descent, exact comparison."""
