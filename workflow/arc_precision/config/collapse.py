"""The rules by which a collapse of a run is called. `arc_precision.collapse` applies them."""

from pydantic import Field, model_validator

from arc_precision.config.base import Section


class CollapseConfig(Section):
    """The rules by which a run counts as collapsed. Fixed before the runs; a collapse is never judged by eye.

    Only steps that drew completions count. The defaults raise an alarm in at most 1 % of simulated healthy runs.
    """

    smoothing_steps: int = Field(
        100,
        gt=0,
        description="Steps of the trailing mean that the rules look at, and at most half of the steps so far: one "
        "step's few completions are noise.",
    )
    patience_steps: int = Field(
        50,
        gt=0,
        description="Steps for which a rule must hold without a break, and at most a quarter of the steps so far.",
    )
    min_steps: int = Field(
        10, ge=0, description="Shortest window that can count as the best level; no rule can hold in these first steps."
    )
    reward_floor: float = Field(
        0.0, description="Reward of a useless completion; shares of the running maximum are counted from here."
    )
    reward_share: float = Field(
        0.5, gt=0, lt=1, description="Rule `reward`: smoothed reward below this share of its running maximum."
    )
    min_running_max: float = Field(
        0.1,
        ge=0,
        description="Rule `reward`: smallest running maximum above the floor; a run that never reached it "
        "cannot collapse by this rule.",
    )
    min_drop_standard_errors: float = Field(
        5.0,
        ge=0,
        description="All rules: the change from the best window must exceed this many standard errors (rank-sum test), "
        "because the running maximum of a noisy curve lies above its mean.",
    )
    recovery_share: float = Field(
        0.8, gt=0, le=1, description="A collapsed reward has recovered at this share of the running maximum."
    )
    truncation_share: float = Field(
        0.5, gt=0, lt=1, description="Rule `truncation`: smoothed share of truncated completions above this."
    )
    zero_variance_share: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="Rule `zero_variance`: smoothed share of groups whose rewards are all equal above this, while "
        "the reward lies below recovery_share. (Groups are also equal if every task is solved.)",
    )
    nonfinite_steps: int = Field(
        10, gt=0, description="Steps with a non-finite loss, in a row, that make a run failed."
    )
    baseline_steps: int = Field(
        400,
        gt=2,
        description="Steps before the smoothed ones that give each metric its trailing baseline for early warnings; "
        "also how long before a collapse an alarm counts as a warning.",
    )
    warning_standard_errors: float = Field(
        5.0, gt=0, description="Half-width of a baseline band, in standard errors of the baseline's prediction."
    )
    early_stop: bool = Field(False, description="Stop a run once it has collapsed; it is recorded as stopped.")

    @model_validator(mode="after")
    def _recovery_lies_above_collapse(self):
        if self.recovery_share <= self.reward_share:
            raise ValueError(
                f"recovery_share {self.recovery_share} is not above reward_share {self.reward_share}, so that a run "
                "would recover where it collapses; write a larger one, or a smaller reward_share"
            )
        return self
