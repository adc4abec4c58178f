"""What a look at the data computes: one subject a module, arrays in, values out; `whet.data.look` makes findings of them."""
