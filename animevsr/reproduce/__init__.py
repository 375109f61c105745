"""The papers' tables: the trainings behind them, and the papers' numbers beside ours."""

from animevsr.reproduce.run import reproduce

__all__ = ['reproduce']
