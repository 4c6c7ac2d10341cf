"""The operations, one module each: their places on the wires, questions, answers and results."""
