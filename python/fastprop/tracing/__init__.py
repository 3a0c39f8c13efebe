"""Functions of the user as Programs: :func:`fastprop.compile`."""
