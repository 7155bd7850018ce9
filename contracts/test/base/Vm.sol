// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The cheat codes of Forge that the tests use
/// @dev Our own declaration of them: no package registry has a maintained forge-std, and this is all we need of one.
interface Vm {
    // The world
    function warp(uint256 timestamp) external;
    function chainId(uint256 id) external;
    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;

    // Expectations
    function expectRevert(bytes calldata revertData) external;
    function expectEmit(address emitter) external;
    function assertTrue(bool condition, string calldata message) external pure;
    function assertFalse(bool condition, string calldata message) external pure;
    function assertEq(uint256 left, uint256 right, string calldata message) external pure;
    function assertEq(bytes32 left, bytes32 right, string calldata message) external pure;
    function assertEq(address left, address right, string calldata message) external pure;
    function assertLt(uint256 left, uint256 right, string calldata message) external pure;

    // Input
    function assume(bool condition) external pure;

    // Keys
    function signP256(uint256 privateKey, bytes32 digest) external pure returns (bytes32 r, bytes32 s);
    function publicKeyP256(uint256 privateKey) external pure returns (uint256 x, uint256 y);
}

/// @dev Where Forge listens: the last 20 bytes of keccak256("hevm cheat code").
Vm constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

/// @dev Folds a fuzzed number into [min, max]. (vm.bound refuses a number outside instead of folding it.)
function within(uint256 number, uint256 min, uint256 max) pure returns (uint256) {
    return min + number % (max - min + 1);
}
