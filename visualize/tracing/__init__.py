"""From the engine to a `GraphView`: what was recorded, or what an observer saw (`walk`, `observed`), under people's
names (`names`), with the backward pass beside it (`gradients`)."""
