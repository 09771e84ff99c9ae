"""From a request as the user writes it to an array: plan, execute, compose.

::

    request -> ReadPlan (what is read of which file, and how it gets to the result)   plan, image, padding
            -> reads of windows, each block once                                      blocks.execute
            -> pixels of the result: resampled, masked, padded                        compose
"""
