"""Local deployments: `deploy-local`, the original's `codedeploy-local` (AG section 15).

`wish` is what was asked for, `location`, `events` and `plan` decide without looking at the machine, `look` looks, `run`
drives the agent's own engine, `screen` prints, `command` holds it together.
"""
