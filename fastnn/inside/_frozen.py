class Frozen: pass
