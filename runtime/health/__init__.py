"""Facts about this machine, and engines that are tried on it: what `calanddet doctor` is made of."""
