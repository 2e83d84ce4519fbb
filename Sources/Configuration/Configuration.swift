// Configuration: flags, environment and YAML to validated values, each with its origin.
