"""人、地、事、物、组织: the registers of a district: who lives, works and stands where, and what happened to it."""
