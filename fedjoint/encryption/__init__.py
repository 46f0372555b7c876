"""Additively homomorphic encryption of updates: exact BFV words that the coordinator adds without any key.

Five verbs, the same for both schemes: keys (``scheme.make_key``), encrypt (``scheme.Encryptor``), add
(``ciphertext.add``), dot (``dot.dot``), decrypt (``decryption.decrypt_sum``, ``decryption.open_sample``). Who may do
what shows in what it must hand over: encrypt and decrypt take a :class:`~fedjoint.encryption.keys.SecretKey`, add and
dot take ciphertexts. What a scheme is, is one protocol of two members, ``scheme.Zeros``.

Holders turn an update into levels (``fixed_point``), pack and encrypt them (``scheme``) with words that prove what a
sum is of (``tags``), and decrypt sums and masked samples only (``decryption``). The coordinator, who never has a key,
adds (``ciphertext``), takes inner products (``dot``) and parses frames (``frames``), of any size mapped from files
(``scratch``). Keys reach the holders by ``ceremony`` and outlive a restart in ``key_files``.
"""
