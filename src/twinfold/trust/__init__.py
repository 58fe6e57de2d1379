"""How far a learned simulator can be trusted, and what it says a policy is worth."""
