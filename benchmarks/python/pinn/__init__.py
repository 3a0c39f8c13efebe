"""A step of a physics-informed network in fastprop and in its peers; see ``__main__``."""
