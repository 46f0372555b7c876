"""Additively homomorphic encryption of updates: exact BFV words that the coordinator adds without any key.

Holders turn an update into levels (``fixed_point``), pack and encrypt them (``scheme``) with words that prove what a
sum is of (``tags``), and decrypt sums and masked samples only (``decryption``). The coordinator, who never has a key,
adds (``ciphertext``), takes inner products (``dot``) and parses frames (``frames``), of any size mapped from files
(``scratch``). Keys reach the holders by ``ceremony`` and outlive a restart in ``key_files``.
"""
