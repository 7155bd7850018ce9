// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDeviceRegistry} from "./IDeviceRegistry.sol";
import {Rfc9162} from "./Rfc9162.sol";
import {Statement, StatementBytes} from "./Statement.sol";

/// @title Heads of append-only logs, each provably an extension of the one before
/// @notice Keeps the newest head (size and root) of any number of RFC 9162 logs. A new head is taken only with a proof that its tree begins
/// with the whole old one, so that a log's writer can add to the past but never change it. Everything is keyed by the log's id, which is a
/// hash over its opener: nobody else can take the id, write the log or stand in its way. Nobody has powers over the contract.
contract TransparencyLog {
    using StatementBytes for Statement;

    /// @notice Who opened a log and under which key it signs. Neither ever changes.
    /// @param opener May hand the writing on; zero means that there is no such log.
    /// @param logKey Ed25519 public key of the log, for verifiers; the contract does not use it.
    struct Log {
        address opener;
        bytes32 logKey;
    }

    /// @notice A log's newest head. Writer, size and time share a slot, so that anchoring writes two.
    /// @param writer May anchor; zero means nobody.
    /// @param size Leaves; 0 until the first anchor.
    /// @param time Seconds since 1970 of the block that anchored it.
    /// @param root Root of the tree.
    struct Head {
        address writer;
        uint48 size;
        uint48 time;
        bytes32 root;
    }

    /// @notice The registry whose word `verifyStatement` takes.
    IDeviceRegistry public immutable registry;

    /// @notice The log by its id; all zeros if it was never opened.
    mapping(bytes32 logId => Log) public logs;

    /// @notice The newest head by the log's id.
    mapping(bytes32 logId => Head) public heads;

    /// @notice A log was opened; its opener is its first writer.
    event LogOpened(bytes32 indexed logId, address indexed opener, bytes32 logKey);
    /// @notice From now on only this address may anchor; zero means nobody.
    event WriterChanged(bytes32 indexed logId, address indexed writer);
    /// @notice The log has a new head.
    event Anchored(bytes32 indexed logId, uint256 size, bytes32 root);

    /// @notice There is no code at the registry's address.
    error RegistryWithoutCode(address registry);
    /// @notice The caller opened this log before.
    error LogAlreadyOpen(bytes32 logId);
    /// @notice Only the opener may do this; so may nobody where no such log is open.
    error NotLogOpener(bytes32 logId, address caller);
    /// @notice Only the writer may do this; so may nobody where no such log is open.
    error NotLogWriter(bytes32 logId, address caller);
    /// @notice A new head must have more leaves than the newest one. A writer that meets this with its own size has anchored it already.
    error HeadNotGrowing(bytes32 logId, uint256 headSize, uint256 size);
    /// @notice More leaves than a head can hold (2^48 - 1).
    error SizeTooLarge(uint256 size);
    /// @notice The first head follows from nothing, so it needs no proof and takes none.
    error ProofOfFirstHead(uint256 length);
    /// @notice The proof does not show that the new tree begins with the old one.
    error NotAnExtension(bytes32 logId, uint256 headSize, uint256 size);

    /// @param registry_ The device registry, for ever.
    constructor(IDeviceRegistry registry_) {
        if (address(registry_).code.length == 0) revert RegistryWithoutCode(address(registry_));
        registry = registry_;
    }

    /// @notice Opens a log for the caller, who becomes its opener and first writer.
    /// @param logKey Ed25519 public key of the log.
    /// @return logId SHA-256(abi.encode(caller, logKey)).
    function open(bytes32 logKey) external returns (bytes32 logId) {
        logId = sha256(abi.encode(msg.sender, logKey));
        if (logs[logId].opener != address(0)) revert LogAlreadyOpen(logId);
        logs[logId] = Log({opener: msg.sender, logKey: logKey});
        heads[logId].writer = msg.sender;
        emit LogOpened(logId, msg.sender, logKey);
        emit WriterChanged(logId, msg.sender);
    }

    /// @notice Hands the writing on. Opener only.
    /// @param logId The log.
    /// @param writer Who may anchor from now on; zero for nobody.
    function setWriter(bytes32 logId, address writer) external {
        if (logs[logId].opener != msg.sender) revert NotLogOpener(logId, msg.sender);
        heads[logId].writer = writer;
        emit WriterChanged(logId, writer);
    }

    /// @notice Makes (size, root) the log's newest head. Writer only.
    /// @param logId The log.
    /// @param size Leaves of the new tree: more than the newest head's.
    /// @param root Root of the new tree.
    /// @param proof Consistency proof from the newest head (RFC 9162 section 2.1.4); empty for the first one.
    function anchor(bytes32 logId, uint256 size, bytes32 root, bytes32[] calldata proof) external {
        Head storage head = heads[logId];
        uint256 headSize = head.size;
        if (msg.sender != head.writer) revert NotLogWriter(logId, msg.sender);
        if (size <= headSize) revert HeadNotGrowing(logId, headSize, size);
        if (size > type(uint48).max) revert SizeTooLarge(size);
        if (headSize == 0) {
            if (proof.length != 0) revert ProofOfFirstHead(proof.length);
        } else if (!Rfc9162.verifyConsistency(headSize, head.root, size, root, proof)) {
            revert NotAnExtension(logId, headSize, size);
        }

        head.size = uint48(size);
        head.time = uint48(block.timestamp);
        head.root = root;
        emit Anchored(logId, size, root);
    }

    /// @notice Whether an entry is in the tree of the log's newest head.
    /// @param logId The log.
    /// @param entry SHA-256 of a statement's bytes.
    /// @param index Place of the entry in the log, from 0.
    /// @param path Inclusion proof for the newest head's size, leaf side first.
    /// @return False for a bad proof, and for a log without a head. Nothing that a proof says makes this revert.
    function verifyInclusion(bytes32 logId, bytes32 entry, uint256 index, bytes32[] calldata path)
        external
        view
        returns (bool)
    {
        Head storage head = heads[logId];
        return Rfc9162.verifyInclusion(Rfc9162.leaf(entry), index, head.size, head.root, path);
    }

    /// @notice Whether a board that was active when the newest head was anchored signed this statement, and the log holds it.
    /// @dev A board that was revoked after its statement and before the newest head is not active at that head's time: the contract
    /// keeps no older heads. A receipt file keeps its own anchor and is judged by that one (docs/protocol.md section 11).
    /// @param logId The log.
    /// @param statement The statement, taken apart.
    /// @param index Place of the statement in the log, from 0.
    /// @param path Inclusion proof for the newest head's size, leaf side first.
    /// @return False if any of the three does not hold. Nothing that a statement or a proof says makes this revert.
    function verifyStatement(bytes32 logId, Statement calldata statement, uint256 index, bytes32[] calldata path)
        external
        view
        returns (bool)
    {
        // Cheap before dear; the signature is the dearest by far where the precompile is missing.
        (bool formed, bytes32 kid) = statement.kidOf();
        if (!formed) return false;
        Head storage head = heads[logId];
        bytes32 leaf = Rfc9162.leaf(statement.entryOf());
        if (!Rfc9162.verifyInclusion(leaf, index, head.size, head.root, path)) return false;
        if (!registry.activeAt(uint256(kid), head.time)) return false;
        return statement.verifySignature();
    }
}
