"""Watts, clocks, temperatures and memory while something else is measured: a file for each place they are read from."""
