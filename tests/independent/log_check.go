// Log_check judges a consent log, its receipts and its history with software that Comity did not write: notes and
// trees are those of golang.org/x/mod/sumdb. What it does itself is finding files and cutting texts apart.
//
//	log_check tree DIR VKEY_FILE [WITNESS_VKEY_FILE]
//	log_check proof FILE.tlog-proof ENTRY_FILE VKEY_FILE
//	log_check consistency VKEY_FILE OLD_CHECKPOINT NEW_CHECKPOINT DIR
//
// It prints one line that begins with "ok" and ends with 0, or says on standard error what is wrong and ends with 1.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height  = 8       // of a tile
	width   = 256     // of a full tile: 1 << height
	few     = 600     // up to this size a log has the proofs of every place checked
	spread  = 97      // of a larger one about so many
	largest = 1 << 53 // x/mod counts the hashes of all levels in an int64, and panics when that is full
)

func main() {
	args := append(os.Args[1:], make([]string, 5)...)
	switch fmt.Sprint(args[0], len(os.Args)-2) {
	case "tree2", "tree3":
		fmt.Println(checkLog(args[1], args[2], args[3]))
	case "proof3":
		fmt.Println(checkProof(args[1], args[2], args[3]))
	case "consistency4":
		fmt.Println(checkConsistency(args[1], args[2], args[3], args[4]))
	default:
		need(false, "usage: tree DIR VKEY [WITNESS_VKEY] | proof PROOF ENTRY VKEY | consistency VKEY OLD NEW DIR")
	}
}

// need ends the program with a reason unless the condition holds.
func need(condition bool, reason string, about ...interface{}) {
	if !condition {
		fmt.Fprintf(os.Stderr, "log_check: "+reason+"\n", about...)
		os.Exit(1)
	}
}

// must gives the value, or ends the program with what went wrong.
func must[T any](value T, err error) T {
	need(err == nil, "%v", err)
	return value
}

// --- the three questions

func checkLog(dir, keyFile, witnessFile string) string {
	tree := openCheckpoint(must(os.ReadFile(filepath.Join(dir, "checkpoint"))), keyFile, witnessFile)
	tiles := onlyNeeded(dir, tree.N)
	var entries, stored []tlog.Hash
	// All hashes of the tree, made from the entries alone.
	made := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	for _, tile := range tiles {
		for _, entry := range readBundle(dir, tile) {
			stored = append(stored, must(tlog.StoredHashes(int64(len(entries)), entry, made))...)
			entries = append(entries, tlog.RecordHash(entry))
		}
	}
	need(int64(len(entries)) == tree.N, "there are %d entries, signed are %d", len(entries), tree.N)
	files := folder{dir, map[string][]byte{}}
	for _, tile := range tiles {
		// Compared here: tlog.TileHashReader takes some tiles unseen where a tree has several subtrees in one tile.
		served, right := must(files.ReadTiles([]tlog.Tile{tile}))[0], must(tlog.ReadTileData(tile, made))
		need(bytes.Equal(served, right), "%s is not that of the entries", pathOf(tile))
	}
	checkRoot(tree, made)
	reader := tlog.TileHashReader(tree, files)
	checkRoot(tree, reader)
	for i := int64(0); i < tree.N; i++ {
		if tree.N > few && i%(tree.N/spread) != 0 && i < tree.N-3 {
			continue
		}
		proof := must(tlog.ProveRecord(tree.N, i, reader))
		err := tlog.CheckRecord(proof, tree.N, tree.Hash, i, entries[i])
		need(err == nil, "entry %d of %d: %v", i, tree.N, err)
		checkBeginning(tree, tlog.Tree{N: i + 1, Hash: must(tlog.TreeHash(i+1, made))}, reader)
	}
	return fmt.Sprintf("ok size=%d entries=%d", tree.N, len(entries))
}

func checkProof(proofFile, entryFile, keyFile string) string {
	head, checkpoint, found := strings.Cut(string(must(os.ReadFile(proofFile))), "\n\n")
	need(found, "%s has no empty line", proofFile)
	lines := strings.Split(head, "\n")
	need(lines[0] == "c2sp.org/tlog-proof@v1", "a proof does not begin with %q", lines[0])
	if len(lines) > 1 && strings.HasPrefix(lines[1], "extra ") {
		must(base64.StdEncoding.Strict().DecodeString(lines[1][len("extra "):]))
		lines = lines[1:]
	}
	need(len(lines) > 1 && strings.HasPrefix(lines[1], "index "), "the proof has no index where it should be")
	index := number(lines[1][len("index "):])
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		proof = append(proof, parseHash(line))
	}
	tree := openCheckpoint([]byte(checkpoint), keyFile, "")
	entry := tlog.RecordHash(must(os.ReadFile(entryFile)))
	err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, entry)
	need(err == nil, "the entry is not number %d of %d: %v", index, tree.N, err)
	return fmt.Sprintf("ok index=%d size=%d", index, tree.N)
}

func checkConsistency(keyFile, oldFile, newFile, dir string) string {
	before := openCheckpoint(must(os.ReadFile(oldFile)), keyFile, "")
	after := openCheckpoint(must(os.ReadFile(newFile)), keyFile, "")
	reader := tlog.TileHashReader(after, folder{dir, map[string][]byte{}})
	checkRoot(after, reader)
	if before.N > 0 {
		checkBeginning(after, before, reader)
	} else {
		checkRoot(before, reader)
	}
	return fmt.Sprintf("ok old=%d new=%d", before.N, after.N)
}

// checkRoot says whether the tiles make the signed root.
func checkRoot(tree tlog.Tree, reader tlog.HashReader) {
	root := tlog.Hash(sha256.Sum256(nil)) // RFC 6962, section 2.1; for no entries x/mod would say zeros
	if tree.N > 0 {
		root = must(tlog.TreeHash(tree.N, reader))
	}
	need(root == tree.Hash, "the root of size %d is %v, signed is %v", tree.N, root, tree.Hash)
}

// checkBeginning says whether the one tree is what the other was before it grew.
func checkBeginning(after, before tlog.Tree, reader tlog.HashReader) {
	proof, err := tlog.ProveTree(after.N, before.N, reader)
	if err == nil {
		err = tlog.CheckTree(proof, after.N, after.Hash, before.N, before.Hash)
	}
	need(err == nil, "size %d has not grown from size %d: %v", after.N, before.N, err)
}

// --- files

// folder reads tiles; what it gives proves nothing by itself.
type folder struct {
	dir  string
	read map[string][]byte
}

func (f folder) Height() int                                { return height }
func (f folder) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		name := pathOf(tile)
		if f.read[name] == nil {
			f.read[name] = must(os.ReadFile(filepath.Join(f.dir, name)))
			need(len(f.read[name]) == tile.W*tlog.HashSize, "%s has %d bytes", name, len(f.read[name]))
		}
		data[i] = f.read[name]
	}
	return data, nil
}

// pathOf is x/mod's own name for a tile, without the height: c2sp.org/tlog-tiles. Level -1 is that of the entries.
func pathOf(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	return "tile/" + strings.Replace(path, "data/", "entries/", 1)
}

// onlyNeeded gives the tiles of a tree of this size, once the folder holds the files for it and no others.
func onlyNeeded(dir string, size int64) (tiles []tlog.Tile) {
	stray := map[string]bool{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, item fs.DirEntry, err error) error {
		if err == nil && !item.IsDir() {
			stray[path] = true
		}
		return err
	})
	need(err == nil, "%v", err)
	need(size/width <= int64(len(stray)), "%d files do not hold %d entries", len(stray), size)
	needed := []string{"checkpoint"}
	for _, tile := range tlog.NewTiles(height, 0, size) {
		// x/mod also lists the partial tiles of all the sizes before this one.
		if last := size >> (height * tile.L) % width; tile.W < width && int64(tile.W) != last {
			continue
		}
		tiles = append(tiles, tile)
		needed = append(needed, pathOf(tile))
		if tile.L == 0 {
			tile.L = -1
			needed = append(needed, pathOf(tile))
		}
	}
	for _, name := range needed {
		need(stray[name], "%s is missing", name)
		delete(stray, name)
	}
	for name := range stray {
		need(false, "%s is no part of a log of size %d", name, size)
	}
	return tiles
}

// readBundle gives the entries beside a tile: those of which it has the hashes, and none for a tile of a higher level.
func readBundle(dir string, tile tlog.Tile) (entries [][]byte) {
	if tile.L != 0 {
		return nil
	}
	tile.L = -1
	name := pathOf(tile)
	rest := must(os.ReadFile(filepath.Join(dir, name)))
	for len(entries) < tile.W {
		need(len(rest) >= 2, "%s ends after %d entries", name, len(entries))
		end := 2 + int(binary.BigEndian.Uint16(rest))
		need(len(rest) >= end, "%s ends within entry %d", name, len(entries))
		entries, rest = append(entries, rest[2:end]), rest[end:]
	}
	need(len(rest) == 0, "%s goes on after entry %d", name, tile.W-1)
	return entries
}

// --- texts

// openCheckpoint gives the tree that a note speaks of, once the log has signed it, and the witness, where one is named.
func openCheckpoint(text []byte, keyFile, witnessFile string) tlog.Tree {
	keys := []note.Verifier{must(note.NewVerifier(vkey(keyFile)))}
	if witnessFile != "" {
		keys = append(keys, newCosigner(vkey(witnessFile)))
	}
	opened := must(note.Open(text, note.VerifierList(keys...)))
	// Each key is listed once, and only if it signed: where a known key's signature does not hold, Open gives up.
	need(len(opened.Sigs) == len(keys), "only %s has signed the checkpoint", opened.Sigs[0].Name)
	lines := strings.Split(strings.TrimSuffix(opened.Text, "\n"), "\n")
	need(len(lines) >= 3 && !strings.Contains(opened.Text, "\n\n"), "the text is not that of a checkpoint")
	need(lines[0] == keys[0].Name(), "the key belongs to %q, the checkpoint to %q", keys[0].Name(), lines[0])
	return tlog.Tree{N: number(lines[1]), Hash: parseHash(lines[2])}
}

func vkey(file string) string {
	return strings.TrimSuffix(string(must(os.ReadFile(file))), "\n")
}

func number(text string) int64 {
	value := must(strconv.ParseInt(text, 10, 64))
	need(text == fmt.Sprint(value) && value >= 0 && value < largest, "%q is no number for a log", text)
	return value
}

func parseHash(text string) tlog.Hash {
	hash := must(tlog.ParseHash(text))
	need(text == hash.String(), "%q is written in another way than %v", text, hash)
	return hash
}

// cosigner lets note.Open look at the timestamped Ed25519 signature of a witness: c2sp.org/tlog-cosignature.
type cosigner struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	need(len(parts) == 3, "the witness's key is no verifier key")
	typed := must(base64.StdEncoding.Strict().DecodeString(parts[2]))
	need(len(typed) == 1+ed25519.PublicKeySize && typed[0] == 4, "the witness's key is not of type 4")
	hash := sha256.Sum256([]byte(parts[0] + "\n" + string(typed)))
	need(parts[1] == fmt.Sprintf("%x", hash[:4]), "the witness's key does not have the id %s", parts[1])
	return cosigner{parts[0], binary.BigEndian.Uint32(hash[:]), typed[1:]}
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.id }

func (c cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize || binary.BigEndian.Uint64(signature) > math.MaxInt64 {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(c.key, []byte(signed), signature[8:])
}
