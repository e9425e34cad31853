"""Kedro imports this wherever pickleseal is installed too, so it imports as little as it can."""

from typing import Any

from kedro.framework.hooks import hook_impl


class _Hooks:
    """Check the key of sealed datasets before a run, not after its work."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        dataset_of = getattr(catalog, "get", None)  # from Kedro 1 on
        if dataset_of is None:
            return
        saved = pipeline.all_outputs()
        for name in pipeline.datasets():
            check = getattr(dataset_of(name), "check_key", None)
            if check is not None:
                check(to_save=name in saved)


hooks = _Hooks()
