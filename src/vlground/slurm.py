"""Jobs of Slurm: whoever launched a job queues it again, not Lightning."""

from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment


def environments() -> list[ClusterEnvironment]:
    """Plugins of the trainer: in a job of Slurm's one that leaves signals alone; else none.

    Lightning's own would write a checkpoint of its kind and call `scontrol requeue` on SIGUSR1,
    beside a launcher (submitit) that does the same in its way.
    """
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)]
