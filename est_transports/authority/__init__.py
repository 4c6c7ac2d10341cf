"""The reference CA: an application that issues by profile, and its stores."""
