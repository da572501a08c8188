"""The commands of ``python -m fastnn``, one module each."""
