"""Learning from preferences: DPO, ORPO, KTO and reward modelling, each through TRL's own trainer."""
