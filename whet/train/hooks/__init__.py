"""Hooks for other frameworks' trainers: report to a study, stop by its verdict or by a criterion, go on from a checkpoint.

One module per framework, each with a `Hook`, which is that framework's own kind of callback: `lightning`, `huggingface`,
`ignite`, `fastai`, `keras`. They are imported by name, since each imports its framework:

    from whet.train.hooks import lightning

    def objective(params, run):
        hook = lightning.Hook(run)
        trainer = pl.Trainer(max_epochs=run.steps, callbacks=[hook])
        trainer.fit(Net(params["lr"]), train, valid)
        return hook.value

    whet.Study(space, goal="min val_loss", steps=20).run(objective, budget="10m")

`whet.train.hooks.kept.weights(study)` has the best trial's weights afterwards. A plain PyTorch loop needs none: it iterates over `run`.
"""
