"""Training: the loss, the optimizer and its rate, and the run that puts them to work.

Import from the modules: `whet.train.run.Run`, `whet.train.callback.Callback`, `whet.train.loss.Loss`.
"""
