"""Write config.yaml and its JSON schema from the typed configuration (`make config`)."""

from pathlib import Path

from arc_precision.config.document import SCHEMA_PATH, config_schema, config_yaml
from arc_precision.config.experiment import ExperimentConfig

if __name__ == "__main__":
    Path("config.yaml").write_text(config_yaml(ExperimentConfig()))
    Path(SCHEMA_PATH).write_text(config_schema())
