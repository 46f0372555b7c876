"""The policy file that a new holder starts with: every limit at its default, and what it means."""

from __future__ import annotations

__all__ = ["POLICY"]

POLICY = """\
# This holder's own limits. An agreement beyond one of them is refused here, before it is signed and again before it is
# run; nobody else can change them. Every line shows the default.

# The most that one run may spend of epsilon (add-or-remove adjacency), at the agreement's delta.
maximum_epsilon: 8.0
# The same if your own ciphertexts were opened (mode joint; all holders share the key).
maximum_epsilon_if_opened: 16.0
maximum_delta: 0.001
# The most that a data set's lifetime budget may allow. With a number here, data without a lifetime budget take no part.
maximum_lifetime_epsilon: null
# The largest bound on one record's gradient. Null: any, as the noise grows with it.
maximum_clip_norm: null
# The least noise of your own in anything you release, in units of what one record can change there; in mode joint that
# of your share.
minimum_noise_multiplier: 0.0
# Against how many colluding holders a joint run must protect you at least.
minimum_colluders: 1
# Fewest holders whose updates a sum that is opened may have.
minimum_holders: 2
# Privacy modes that you accept. "none" adds no noise: a research baseline, refused unless it stands here.
modes: [local, joint]
# Kinds of model and purposes that you accept, word for word. Null: any, as a person reads them before signing.
models: null
purposes: null
# SHA-256 of model code that may run here. `fedjoint holder approve FILE` keeps the file, and its hash beside these.
code: []
# Whether reproducible, and therefore not private, noise is acceptable.
allow_insecure_noise: false
# Whether constants that were read off the records are acceptable where privacy is on.
allow_inferred_schema: false
# Whether your (noised) updates may be kept in the clear.
allow_kept_updates: false
# Whether sums of your (noised) updates with those of at least two other holders may be opened, for audit.
allow_audit_blocks: false
# How many numbers may be opened of you beside your contribution, 16 bits of each (24 without a
# clip norm), to estimate how sure it is.
maximum_error_numbers: 8
# Whether you tell other holders of an agreement, each once, which of their own records you have too: data that is
# brought twice should not be paid twice. They learn nothing of your other records.
allow_duplicate_search: false
# Whether, with privacy on, the number of your examples may be stated as it is: only if it is public anyway.
allow_exact_size: false
"""
