"""How much time and memory this implementation takes, against yardsticks of the same run."""
