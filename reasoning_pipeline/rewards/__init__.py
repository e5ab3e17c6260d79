"""What an answer is worth: the kinds of reward that a recipe or a suite may name, and functions of one's own."""

from reasoning_pipeline.rewards.config import MATH, Reward, RewardPart
from reasoning_pipeline.rewards.judge import RewardJudge

__all__ = ["MATH", "Reward", "RewardJudge", "RewardPart"]
