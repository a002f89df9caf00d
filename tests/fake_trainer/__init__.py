"""A scripted trainer for tests of the queue: real events, checkpoints and a small adapter, and the faults that are asked for.

The script is words like `steps=20 step_ms=50 kill9=3` in the job's name; NIBBLE_TRAINER_SCRIPT gives the defaults.

steps=N step_ms=N      how long it runs
save=N keep=N          a checkpoint every N steps, the newest `keep` (2) stay; it goes on from the newest one that verifies
file_kb=N state_kb=N   size of the adapter's weights, and of a checkpoint's

Faults of the machine, on the first attempt only unless always=1:
kill9=N                kills itself with SIGKILL at step N
torn=N                 the same in the middle of a line
torn_checkpoint=N      the same after the checkpoint of step N, one byte of which is flipped
hang=N                 makes no progress from step N on; hang_setup=1 before the first event, hang_saving=1 in a checkpoint
xid=N                  prints what NVIDIA's driver logs of a GPU that is gone at step N, and exits with 1
enospc=N               the disk is full at the first checkpoint from step N on

Faults of the job, on every attempt:
exit=CODE@N            ends at step N with the code, without a last word
fail=CAUSE@N           ends at step N as a failed training does
nan=N                  the loss of step N is not a number
oom_rows=N             CUDA memory does not suffice for more than N rows a pass; oom_at=N at that step instead of before the first
oom_needs_ckpt=1       ... nor without activation checkpointing
rows=N                 runs N rows a pass by its own choice, as long as the agent has not said otherwise

deaf=1                 ignores stops and SIGTERM
slow_stop_ms=N         takes so long to obey
spam=N                 prints N lines at step 1
orphan=1               leaves a grandchild in a session of its own

Of a run of several processes the others write nothing and wait for the first one's end, or
rank_kill9=N           the second kills itself after N ms, on the first attempt
rank_oom_rows=N        the second finds its card too small for more than N rows a pass, and writes that down
rank_prints=WORD       the second prints the word

Its digest runs over all steps: a resumed run ends with the adapter of an undisturbed one, byte by byte, or it lost steps.
"""
