"""Gates: the theory's two conditions, as a recipe asks for them and as steps of the plan that measure them.

    gates:
      c1: {problems: second, samples: 4, min_gain: 0.05, on_failure: warn}
      c2: {prompts: first, rollouts: 300, max_reverse_kl: 0.1, on_failure: extend, extend_steps: 120}

C1, the RL'd teacher beats its raw self: paired accuracy on problems its lineage has not spent. C2, the student is near
the RL'd teacher: divergence per token and top-k overlap on the student's own rollouts, measured at the start of the
bridge and after each of its stages; the threshold is asked where on-policy distillation begins. Measured figures are
artifacts; thresholds are no part of any fingerprint, so a changed one judges anew what is there (judging.py).
"""
