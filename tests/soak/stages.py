"""The stages of the soak, in the order in which they run; each is a module with ``run``."""

STAGES = (
    "simulator", "folders", "schemas", "fuzz", "streams", "overload", "kills", "drains", "endurance"
)  # fmt: skip
