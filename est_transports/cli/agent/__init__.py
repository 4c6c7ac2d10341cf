"""The commands of the agent: agent, agent-init, renew, status, roll-back, discard."""
